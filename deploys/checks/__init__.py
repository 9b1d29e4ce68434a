"""What is looked at before anything is changed: a check gives the sentence that refuses a host, or None."""
