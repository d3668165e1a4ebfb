"""What turns pixels into feature maps or features: DINOv2, CVNet, any Hugging Face ViT, SIFT."""
