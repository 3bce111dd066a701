"""Steps as views of rows: each output row is the same, to the bit, whatever range is asked for."""
