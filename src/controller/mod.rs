//! One run across many hosts: batches, stops, results.
