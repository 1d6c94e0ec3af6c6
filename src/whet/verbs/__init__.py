"""What a user can ask for: one file per verb, called by the command line and by Python alike."""
