//! Shell: to come.
