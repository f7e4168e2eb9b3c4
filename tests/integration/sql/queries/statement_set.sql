-- Statements in a set.
CREATE TABLE statement_set (auction BIGINT, n BIGINT) WITH (${sink});

EXECUTE STATEMENT SET BEGIN
INSERT INTO statement_set
SELECT auction, count(*) FROM bid GROUP BY auction;
END;
