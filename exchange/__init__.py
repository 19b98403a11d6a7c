"""Networks that come from elsewhere and go elsewhere: fetched, imported, exported."""
