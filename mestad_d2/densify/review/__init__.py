"""The review: which stretches a person should look at first."""
