"""How good dense labels are, against dense truth or the annotators' own key frames."""
