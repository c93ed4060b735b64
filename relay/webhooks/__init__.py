"""Webhooks: every change of a submission's status, told to the operator's receivers, at least once and in order."""
