"""The opentofu driver: exactly the approved plan file is applied, by OpenTofu or Terraform; it must not believe what a planning sandbox says."""
