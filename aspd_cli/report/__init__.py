"""Pages, charts and pictures that commands write.

- `html`, `page.css`: the frame of a page: sections, tables, answers in columns
- `chart`: one drawing as SVG and as PNG
- `transform_page`: the page about a run of `aspd transform`
- `evaluation_page`: that of `aspd eval`, with its `evaluation_tables` and `evaluation_plots`
- `terminal_document`, `mask_image`: a document with its lanes and mask, in a terminal and as a
  picture
- `lane_colours`: the colours of branches, on a terminal and on a page
"""
