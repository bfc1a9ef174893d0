"""Programs on the controller: git and ansible-playbook."""
