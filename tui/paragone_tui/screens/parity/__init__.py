"""The parity sheet: whether the lanes answered under the same conditions."""
