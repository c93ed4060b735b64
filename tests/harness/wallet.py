"""A wallet with a local key, as a browser page sees one (EIP-1193), and announced as EIP-6963 says.

`window.changeAccount()` is its owner choosing another account.

Touches the pages of the browser context it is installed in. Signs with eth-account.
"""

import json
from typing import Any

from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from eth_account.signers.local import LocalAccount
from playwright.sync_api import BrowserContext

USER_REJECTED = 4001  # EIP-1193: the user declined
PROVIDER = """
(() => {
  const listeners = [];
  window.changeAccount = () => listeners.forEach((listener) => listener([]));
  const provider = {
    on(name, listener) {
      if (name === 'accountsChanged') listeners.push(listener);
    },
    async request(call) {
      const { error, result } = await window.localWalletRequest(call);
      if (error) throw Object.assign(new Error(error.message), { code: error.code });
      return result;
    },
  };
  const info = { uuid: 'e0c1a5de-0000-4000-8000-000000000001', name: 'Test wallet', icon: 'data:,', rdns: 'test' };
  const announce = () => window.dispatchEvent(
    new CustomEvent('eip6963:announceProvider', { detail: Object.freeze({ info, provider }) }),
  );
  window.addEventListener('eip6963:requestProvider', announce);
  window.ethereum = provider;
  announce();
})();
"""


class LocalWallet:
    """One key. `asked` has every call; with `declines` its owner says no to everything."""

    def __init__(self, key: bytes) -> None:
        self.account: LocalAccount = Account.from_key(key)
        self.address: str = self.account.address
        self.asked: list[str] = []
        self.declines = False

    def install(self, context: BrowserContext) -> None:
        """Give every page of `context` this wallet."""
        context.expose_function("localWalletRequest", self.answer)
        context.add_init_script(PROVIDER)

    def answer(self, call: dict[str, Any]) -> dict[str, Any]:
        """Return `{result}` or `{error}`."""
        self.asked.append(call["method"])
        if self.declines:
            return {"error": {"code": USER_REJECTED, "message": "User rejected the request."}}
        try:
            return {"result": self._does(call["method"], call.get("params") or [])}
        except (KeyError, ValueError) as error:
            return {"error": {"code": -32602, "message": str(error)}}

    def _does(self, method: str, params: list[Any]) -> Any:
        if method in {"eth_requestAccounts", "eth_accounts"}:
            return [self.address.lower()]
        if method == "personal_sign":
            data, address = params
            self._owns(address)
            return "0x" + self.account.sign_message(encode_defunct(hexstr=data)).signature.hex()
        if method == "eth_signTypedData_v4":
            address, document = params
            self._owns(address)
            return (
                "0x" + self.account.sign_message(encode_typed_data(full_message=json.loads(document))).signature.hex()
            )
        raise ValueError(f"this wallet does not know {method}")

    def _owns(self, address: str) -> None:
        if address.lower() != self.address.lower():
            raise ValueError("not an account of this wallet")
