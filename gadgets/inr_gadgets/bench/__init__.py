"""Methods against scans whose truth is known: what each one reaches, and what it costs, as tables and figures."""
