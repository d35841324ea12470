"""Who is it: API keys, tokens, the OAuth authorization server, people and their sign-in."""
