"""What happens to a predicted label map before it leaves: components kept, vertebrae found and named anew."""
