"""CrossPoint pretraining."""
