"""The 3D face: models, coefficients, camera, light, and drawing."""
