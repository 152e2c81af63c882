"""Open media files and read their streams, time stamps and colours."""
