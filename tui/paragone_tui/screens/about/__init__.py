"""What a lane's engine is."""
