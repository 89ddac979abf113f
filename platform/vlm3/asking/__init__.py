"""What tasks share: how questions are worded and asked, answers read, kept in tables and compared with the truth."""
