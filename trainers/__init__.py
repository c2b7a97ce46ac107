"""One trial: data, labeling, losses, networks, scores and the training loop.

Nothing here knows of Ray, MLflow or studies; importing this package does not import torch.
"""
