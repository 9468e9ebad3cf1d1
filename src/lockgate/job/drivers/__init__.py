"""The drivers' behaviour, one module or package each; nothing outside this package may ask for a driver's name."""
