"""What every explorer is made of: base, page, worker, cache, pictures, methods; one script and one CSS."""
