"""Windows in, a trained network and its artifact out; networks in `models`, methods in `distillers`. Needs torch."""
