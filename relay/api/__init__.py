"""HTTP of the relay: one module per area. The only place of this package that knows Starlette."""
