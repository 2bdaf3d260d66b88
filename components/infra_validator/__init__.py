"""InfraValidator: loads a model in a fresh process and asks it for answers."""
