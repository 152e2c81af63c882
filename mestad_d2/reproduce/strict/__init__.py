"""Table 5 in its strict form: does TLA pay beyond more clips, more passes, more time and averaging?"""
