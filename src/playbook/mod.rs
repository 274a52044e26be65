//! YAML to typed plays: roles, includes, tags, variables, and every check made before a host is touched.
