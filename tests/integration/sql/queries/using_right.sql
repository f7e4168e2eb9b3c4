CREATE TABLE using_right (id BIGINT, category BIGINT, name VARCHAR) WITH (${sink});

INSERT INTO using_right
SELECT *
FROM (SELECT category, seller AS id FROM auction WHERE category > 12) A
RIGHT JOIN (SELECT name, id FROM person) P USING (id);
