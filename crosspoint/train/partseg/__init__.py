"""Fine-tuning for part segmentation."""
