"""Register versions in MLflow: tracking, runs, promotion, succession and recalibration."""
