"""Asking an OpenAI-compatible endpoint: limits, retries, budget, and a journal of replies.

    with Journal(path, settings) as journal:
        async with Endpoint(section, journal) as endpoint:
            replies = await endpoint.ask(Call("judge", messages, n=3), check)

One `Endpoint` serves a whole run. Every reply is in the journal before it is used, so a run that
was killed is simply done again: what was paid for is answered from the journal.

In reading order:

- `client`: the endpoint of a run: asks, checks, asks again
- `messages`: requests, responses, and the text of replies
- `transport`: one request until it is answered
- `failures`: what a failed attempt means
- `rate_limits`: requests and tokens a minute, and what a run may cost
- `batch`: requests to a file and replies from one, in place of calls
- `journal`: every reply that was paid for, on disk; `journal_file`: whose that file is
- `usage`: counts and dollars per stage

A server that answers prompts as a local model does, `aspd serve` or any other, is asked without a
journal:

- `served`: the model behind a server, with the calls of a decoder
- `streaming`: one answer as it comes, chunk by chunk
"""
