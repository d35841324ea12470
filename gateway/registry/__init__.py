"""The facts: parties and control, papers and quotas, collections, forms, consents, holdings."""
