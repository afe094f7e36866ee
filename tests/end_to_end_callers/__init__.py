"""Who may call, tried over HTTP against the whole stack."""
