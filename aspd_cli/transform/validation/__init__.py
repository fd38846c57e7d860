"""Checks of training data: `checks` needs no model, `rejudge` asks the judge a second time."""
