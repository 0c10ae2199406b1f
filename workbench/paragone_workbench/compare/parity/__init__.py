"""The parity check: whether several engines answered under the same conditions."""
