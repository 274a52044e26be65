//! The loop on the host: evaluates tasks, lets modules plan, performs or predicts changes, reports.
