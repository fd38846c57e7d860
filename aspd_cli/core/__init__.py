"""The rules of ASPD as pure functions: no file is opened and no model is loaded here."""
