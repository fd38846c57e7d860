"""Asking an OpenAI-compatible endpoint: limits, retries, budget, and a journal of replies.

    with Journal(path, settings) as journal:
        async with Endpoint(section, journal) as endpoint:
            replies = await endpoint.ask(Call("judge", messages, n=3), check)

One `Endpoint` serves a whole run. Every reply is in the journal before it is used, so a run that
was killed is simply done again: what was paid for is answered from the journal.
"""
