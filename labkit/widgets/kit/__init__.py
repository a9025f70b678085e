"""What every explorer is made of: base, page, worker, cache, pictures, methods; one JavaScript and one CSS."""
