"""How the page of a node is made."""
