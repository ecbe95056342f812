"""What this machine has for lanser."""
