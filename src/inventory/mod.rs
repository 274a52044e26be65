//! Hosts, groups, variables and patterns, from INI and YAML inventories.
