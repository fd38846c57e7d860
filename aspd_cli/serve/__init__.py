"""`aspd serve`: an OpenAI-compatible server of our own engine.

In reading order:

- `app`: the routes, and what a request goes through
- `protocol`: bodies of requests, and what they ask of the engine
- `prompt_encoder`: prompts as ids that the engine can take
- `replies`: answers as OpenAI's objects, whole and in chunks
- `answers`: answers under way, and their streams
- `engine_loop`: the engine in a thread of its own; requests come and go between steps
- `logprobs`: log-probabilities in OpenAI's form
- `guard`: who may ask, and how much
- `metrics`: what Prometheus reads
- `page`: the chat page
- `server`: the socket, the signals, the end
"""
