"""The files of an inventory, before Ansible reads them."""
