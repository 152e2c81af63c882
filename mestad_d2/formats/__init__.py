"""File formats that several rooms read and write; they know no model."""
