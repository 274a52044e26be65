//! SSH and local connections, privilege, and putting the agent in place.
