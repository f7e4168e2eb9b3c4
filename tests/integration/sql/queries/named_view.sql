-- A view with names of its own for its columns.
CREATE VIEW dear (k, n) AS SELECT auction, count(*) FROM bid WHERE price > 300 GROUP BY auction;
CREATE TABLE named_view (k BIGINT, n BIGINT) WITH (${sink});

INSERT INTO named_view
SELECT k, n FROM dear WHERE n > 1;
