"""The screen with details of a lane's engine."""
