"""Import conversations from files: paragone's own documents, and exports of other programs."""
