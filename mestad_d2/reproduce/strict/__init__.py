"""The strict form of Table 5: TLA against more clips, more passes, more time and averaging."""
